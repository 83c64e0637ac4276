"""What rtbridge costs, beside its peers and beside what the machine can do at all. Start at run.py."""
