"""The classes of modules rewritten: expressions of their methods give way to submodules.

It knows how Python code is read and rewritten and nothing of activations: `softplus.conversion`
says which expressions are meant.
"""
