package main

import (
	"runtime"
	"runtime/debug"
)

// release is the version of this program. A build may set another with -ldflags "-X main.release=1.2.3".
var release = "0.1.0"

// revision returns the commit that this program was built from, with "+changes" if the work tree had any, or "" if the
// build does not know.
func revision() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return ""
	}
	commit, changes := "", ""
	for _, s := range info.Settings {
		switch {
		case s.Key == "vcs.revision":
			commit = s.Value
		case s.Key == "vcs.modified" && s.Value == "true":
			changes = "+changes"
		}
	}
	if commit == "" {
		return ""
	}
	return commit + changes
}

// version returns the line that --version prints.
func version() string {
	text := "guildcast " + release
	if r := revision(); r != "" {
		text += " " + r
	}
	return text + " (" + runtime.Version() + ", " + runtime.GOOS + "/" + runtime.GOARCH + ")"
}
