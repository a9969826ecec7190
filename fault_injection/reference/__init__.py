"""What a payment may do, said once more: plain Python that knows nothing of the engine."""
