"""The names of the bot's slash commands."""

COMMANDS = (
    *("cancel", "checkpoint", "dataset", "download", "help", "models", "resume", "run", "runs"),
    *("settings", "status", "storage", "train"),
)
