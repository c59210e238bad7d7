"""Pass 3: the typed, structured intermediate representation shared by every runtime."""
