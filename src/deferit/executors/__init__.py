"""Where handlers run, away from their requests: one module an executor, alternatives behind one contract."""
