"""The specification of every op in plain torch: slow, on any device, in any dtype. The fast backends are held to it."""
