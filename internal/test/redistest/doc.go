// Package redistest starts the Redis servers that tests need: a real redis-server process that can be stopped and
// started again, a cluster of three primaries, an in-process miniredis, and a TCP proxy that cuts connections, makes
// them late or narrow and leaves them half-open.
// Everything is killed and waited for when the test ends; what tests share, when the package's tests end.
//
// Where redis-server is not installed the test is skipped, unless GUILDCAST_REQUIRE_REDIS=1 (CI sets it), which makes
// it fail instead: a CI run must not pass because nothing was tested.
package redistest
