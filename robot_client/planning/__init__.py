"""Planning in a model with NumPy alone: what to do next, from imagined futures.

N candidates of H actions (A,) each are drawn, imagined and scored; the best say where to look next.
Actions are in the model's own scale (see `robot_client.bundle`). All state is passed in and out.
"""
