"""How good and how soon: every algorithm on a ResNet and on a small GPT, with four workers."""
