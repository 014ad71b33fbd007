"""
Settings from flags, environment, credential files and TOML.
"""
