"""Settings that all tests share."""

import torch

# The tests' networks are small: more threads cost more to start than they save, and several
# processes of tests would compete for the cores.
torch.set_num_threads(1)
