"""The recurrent world model: sees, remembers, imagines and draws what it expects.

Shapes are written with these letters:

    B  windows in a batch          T  rows in a window         H  imagined steps
    N  any number of rows          A  numbers in an action     E  numbers in the encoder's tokens
    D  deterministic state         S  groups of the stochastic state, of K classes each
    F  D + S * K, the features [deter, stoch] that every head reads
"""
