"""Which precision, runtime, threads and layout make a checkpoint fast on this machine, and what each costs."""
