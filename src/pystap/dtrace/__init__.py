"""The ``dtrace`` command: headers and objects for the marks that a ``.d`` file declares."""
