"""What tracing a toy run costs."""
