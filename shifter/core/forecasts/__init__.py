"""Looking ahead: how long a migration takes, what it costs at worst, and traffic made up to try a policy on."""
