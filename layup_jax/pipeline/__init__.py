"""How forward and backward passes are scheduled. Threads live here and in transport/, nowhere else."""
