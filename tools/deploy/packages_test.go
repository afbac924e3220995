package deploy

import (
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"
)

// installed are the files of a package that it would be of no use without.
var installed = []string{
	"/usr/bin/guildcast", "/usr/lib/systemd/system/guildcast.service", "/usr/lib/sysusers.d/guildcast.conf",
	"/etc/guildcast/guildcast.yaml", "/etc/guildcast/guildcast.env", "/usr/share/doc/guildcast/copyright",
	"/usr/share/doc/guildcast/README.md", "/usr/share/doc/guildcast/reference/operations.md",
	"/usr/share/doc/guildcast/examples/alerts.yml", "/usr/share/doc/guildcast/examples/traefik/nodes.yml",
}

// architectures are those of the packages, by their names in a deb and an rpm. Those of this machine must be there.
var architectures = map[string]string{"amd64": "x86_64", "arm64": "aarch64"}

// TestDeb looks into the deb packages that scripts/packages has built.
func TestDeb(t *testing.T) {
	tool(t, "dpkg-deb")
	for arch := range architectures {
		file := built(t, arch, "guildcast_*_"+arch+".deb")
		if file == "" {
			continue
		}
		list := output(t, "dpkg-deb", "--contents", file)
		for _, path := range installed {
			if !strings.Contains(list, " ."+path+"\n") {
				t.Errorf("%s lacks %s", file, path)
			}
		}
		for path, mode := range map[string]string{
			"/usr/bin/guildcast": "-rwxr-xr-x", "/etc/guildcast/guildcast.env": "-rw-------",
		} {
			line := regexp.MustCompile(`(?m)^` + mode + `\s+root/root\s.*` + regexp.QuoteMeta(path) + `$`)
			if !line.MatchString(list) {
				t.Errorf("%s: %s has another mode or owner\n%s", file, path, list)
			}
		}
		control := t.TempDir()
		output(t, "dpkg-deb", "--control", file, control)
		checkControl(t, control, arch)
		root := t.TempDir()
		output(t, "dpkg-deb", "--extract", file, root)
		checkRoot(t, root, arch)
	}
}

func checkControl(t *testing.T, dir, arch string) {
	t.Helper()
	facts := readFile(t, dir, "control")
	for _, line := range []string{"Package: guildcast", "Architecture: " + arch, "Section: net"} {
		if !strings.Contains(facts, line+"\n") {
			t.Errorf("control lacks %q:\n%s", line, facts)
		}
	}
	if files := readFile(t, dir, "conffiles"); !strings.Contains(files, "/etc/guildcast/guildcast.yaml\n") {
		t.Errorf("an update would overwrite what the operator has changed: %q", files)
	}
	for script, does := range map[string]string{
		"postinst": "systemd-sysusers guildcast.conf", "prerm": "disable --now guildcast", "postrm": "daemon-reload",
	} {
		if text := readFile(t, dir, script); !strings.Contains(text, does) {
			t.Errorf("%s does not say %s", script, does)
		}
		output(t, "sh", "-n", filepath.Join(dir, script))
	}
}

// checkRoot looks at what a package installs.
func checkRoot(t *testing.T, root, arch string) {
	t.Helper()
	unit := readFile(t, root, "usr/lib/systemd/system/guildcast.service")
	if !strings.Contains(unit, "\nExecStart=/usr/bin/guildcast serve ") || strings.Contains(unit, "/usr/local") {
		t.Error("the unit starts another binary than the package's")
	}
	machine := map[string]string{"amd64": "\x3e\x00", "arm64": "\xb7\x00"}[arch] // of the ELF header
	if binary := readFile(t, root, "usr/bin/guildcast"); len(binary) < 20 || binary[18:20] != machine {
		t.Errorf("the binary is not for %s", arch)
	}
	// The service has the variables of its file, and the secret from systemd.
	env := readFile(t, root, "etc/guildcast/guildcast.env")
	if !strings.Contains(env, "\nGUILDCAST_CONFIG=/etc/guildcast/guildcast.yaml\n") {
		t.Errorf("the service does not read its configuration: %q", env)
	}
	secret := write(t, t.TempDir(), "jwt", strings.Repeat("secret", 8))
	config := filepath.Join(root, "etc/guildcast/guildcast.yaml")
	if out, err := run(t, nil, "config", "check", "--config", config, "--jwt-secret-file", secret); err != nil {
		t.Errorf("guildcast config check: %v\n%s", err, out)
	}
	text := readFile(t, root, "etc/guildcast/guildcast.yaml")
	checkStop(t, unit, option(text, "drain-delay"), option(text, "grace"))
}

// option returns the value of an option in a configuration file.
func option(text, name string) string {
	if m := regexp.MustCompile(`(?m)^` + name + `: (\S+)$`).FindStringSubmatch(text); m != nil {
		return m[1]
	}
	return ""
}

// checkStop fails if systemd kills a node before it has drained.
func checkStop(t *testing.T, unit, delay, grace string) {
	t.Helper()
	m := regexp.MustCompile(`(?m)^TimeoutStopSec=(\d+)$`).FindStringSubmatch(unit)
	if m == nil {
		t.Fatal("the unit has no TimeoutStopSec")
	}
	if stop, drain := duration(t, m[1]+"s"), duration(t, delay)+duration(t, grace); stop < drain+duration(t, "15s") {
		t.Errorf("the unit has %s to end, and may take %s and 15 s", stop, drain)
	}
}

// TestRPM looks into the rpm packages that scripts/packages has built.
func TestRPM(t *testing.T) {
	tool(t, "rpm")
	for goarch, arch := range architectures {
		file := built(t, goarch, "guildcast-*."+arch+".rpm")
		if file == "" {
			continue
		}
		// A database of its own: where rpm is not the system's own, it has none.
		query := func(args ...string) string {
			args = slices.Concat([]string{"--dbpath", t.TempDir(), "--nosignature", "-qp"}, args, []string{file})
			return output(t, "rpm", args...)
		}
		list := "\n" + query("--list")
		for _, path := range installed {
			if !strings.Contains(list, "\n"+path+"\n") {
				t.Errorf("%s lacks %s", file, path)
			}
		}
		if files := query("--configfiles"); !strings.Contains(files, "/etc/guildcast/guildcast.yaml") {
			t.Errorf("an update would overwrite what the operator has changed: %q", files)
		}
		if scripts := query("--scripts"); !strings.Contains(scripts, "systemd-sysusers guildcast.conf") {
			t.Errorf("nobody makes the user:\n%s", scripts)
		}
		if facts := query("--info"); !regexp.MustCompile(`Architecture: +` + arch).MatchString(facts) {
			t.Errorf("%s", facts)
		}
	}
}

// TestUnit has systemd read the unit.
func TestUnit(t *testing.T) {
	tool(t, "systemd-analyze")
	unit := strings.ReplaceAll(string(read(t, "deploy/guildcast.service")), "/usr/local/bin/guildcast", binary(t))
	dir := t.TempDir()
	file := write(t, dir, "guildcast.service", unit)
	// Without a running systemd it may warn of what it can't ask; it names the file in what is wrong with that.
	out, err := exec.Command("systemd-analyze", "verify", "--man=no", file).CombinedOutput()
	if strings.Contains(string(out), "guildcast.service") {
		t.Errorf("%v\n%s", err, out)
	}
	checkStop(t, unit, "0s", "10s")                                                            // the defaults
	users := write(t, dir, "guildcast.conf", string(read(t, "deploy/packages/sysusers.conf"))) // it wants a full path
	if out := output(t, "systemd-sysusers", "--dry-run", users); !strings.Contains(out, "guildcast") {
		t.Errorf("nobody makes the user: %s", out)
	}
}

// tool skips the test if the system lacks a program.
func tool(t *testing.T, name string) {
	t.Helper()
	if _, err := exec.LookPath(name); err != nil {
		t.Skip(err)
	}
}

// built returns the path of the only package of a name, or "" if none was built for a machine that is not this one.
func built(t *testing.T, arch, pattern string) string {
	t.Helper()
	files, err := filepath.Glob("../../dist/" + pattern)
	if err == nil && len(files) == 0 && arch != runtime.GOARCH {
		return ""
	}
	if err != nil || len(files) != 1 {
		t.Fatalf("dist has %d files %s, not one; run make clean packages", len(files), pattern)
	}
	return files[0]
}

func output(t *testing.T, command string, args ...string) string {
	t.Helper()
	out, err := exec.Command(command, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v\n%s", command, err, out)
	}
	return string(out)
}
