"""The protocol, explored: every state it can reach, with every rule checked in each."""
