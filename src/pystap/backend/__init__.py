"""The runtimes: each turns an IR module into something that runs."""
