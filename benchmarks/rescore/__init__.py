"""Every example evaluated again, and doctored copies of one that must not be confirmed."""
