"""The phone numbers of the operator's accounts: where they lead, and leading them here and back."""
