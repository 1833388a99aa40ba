"""Floor 6, for operators: logs, redaction, metrics, health, reports and the folder of recordings."""
