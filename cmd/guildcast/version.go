package main

import (
	"cmp"
	"runtime"
	"runtime/debug"
)

// release is set by a release build, with -ldflags "-X main.release=v1.2.3"; a constant for the program.
var release string

// version says what this program was built from, as far as the build knows.
func version() string {
	number, revision := release, ""
	if info, ok := debug.ReadBuildInfo(); ok {
		number = cmp.Or(number, info.Main.Version)
		for _, s := range info.Settings {
			switch {
			case s.Key == "vcs.revision":
				revision = " " + s.Value
			case s.Key == "vcs.modified" && s.Value == "true":
				revision += " with changes"
			}
		}
	}
	return "guildcast " + cmp.Or(number, "(devel)") + revision + " (" + runtime.Version() + ", " + runtime.GOOS + "/" + runtime.GOARCH + ")"
}
