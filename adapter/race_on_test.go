//go:build race

package adapter

// raceEnabled is true under the race detector. The library's BroadcastOperator writes a plain variable that the
// callbacks of an acknowledgement read, so that what goes through EmitWithAck can't be tested there.
const raceEnabled = true
