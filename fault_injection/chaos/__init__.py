"""Real processes, killed and stopped under load; what must hold is asked of their databases."""
