"""The only boto3. Each module turns one service's documents into the core's values and back."""
