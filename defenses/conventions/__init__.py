"""What a user's model takes and gives, met at every call, once a framework."""
