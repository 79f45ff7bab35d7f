"""What a `RedisStore` is made of.

A batch is executed in three steps. `needs` and `facts`: ask at once for all that it concerns. `batch` on a `desk`: go
through the commands, with the core's decisions, without writing. `commit`: write all of it by one script, if everything
still is as it was told, else begin again. `rows` says how it lies there, `pieces` what is kept apart, and `room`
what a server that is full may still be asked.
"""
