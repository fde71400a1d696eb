"""The audit log: one line for each fact, a tree over the lines, and signed states of the tree."""
