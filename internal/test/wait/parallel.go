package wait

import "flag"

// Parallel lets eight parallel tests run at once, however few processors there are, unless -parallel says otherwise:
// tests that wait cost nothing. A TestMain calls it first.
func Parallel() {
	// The flag exists in every test binary; where it does not, tests run as they did.
	_ = flag.Set("test.parallel", "8")
}
