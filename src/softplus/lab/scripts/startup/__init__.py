"""The folder that PYTHONPATH names in a trial, so that each of its Pythons begins here."""
