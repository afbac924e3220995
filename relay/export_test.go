package relay

// Forget makes a relay unsure, as after a loss.
func (r *Relay) Forget() { r.unsure("a test says so") }
