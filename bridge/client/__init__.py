"""Floor 6: the model without a phone, for programs that bring their own sound."""
