"""World Models (Ha and Schmidhuber 2018): an eye (V), a memory that dreams (M), and a controller.

Each file is of use alone: `mdn_rnn` also generates sequences that have no actions.
"""
