package main

import (
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"

	"github.com/alecthomas/kong"
)

// cli is the command line. Every flag is an environment variable as well; see variable.
type cli struct {
	Serve   serve        `cmd:"" default:"withargs" help:"Run a node (the default)."`
	Token   tokenCommand `cmd:"" help:"Mint a development token and print it."`
	Publish publish      `cmd:"" help:"Publish an event of a guild."`
	Emit    emit         `cmd:"" help:"Emit an event to a room, as the emitters of other languages do."`
	Explain explain      `cmd:"" help:"Say whether a user would get an event, and which rule says so."`
	Health  health       `cmd:"" help:"Ask a node on this machine whether it serves; exit code 0 if it does, else 1."`
	Revoke  revoke       `cmd:"" help:"Take tokens back, on every node and on those started later."`
	Relay   relayCommand `cmd:"" help:"Publish durably what others publish plainly, so that nobody misses it."`

	Options configCommand `cmd:"" name:"config" help:"Show and check what a node would run with."`

	Config  string           `placeholder:"FILE" help:"YAML file with options: their names without dashes in front, and their values."`
	Version kong.VersionFlag `help:"Print the version and end."`
}

// configFlag is the flag that names the configuration file. It can't stand in there.
const configFlag = "config"

// variable returns the name of the environment variable that sets a flag.
func variable(flag string) string {
	return "GUILDCAST_" + strings.ToUpper(strings.ReplaceAll(flag, "-", "_"))
}

// finished ends the parsing after --help.
type finished struct{}

// invocation is a command line that was parsed.
type invocation struct {
	command command
	unknown []string // variables that look like options and set nothing
	options []option // of the command, in the order of the help
}

// parse reads a command line; it takes flags that are left out from vars or, if they are not there either, from the
// configuration file that --config names. The command is nil if nothing is left to do, as after --help.
func parse(args []string, vars map[string]string, stdout io.Writer) (parsed invocation, err error) {
	defer func() { // kong's --help ends the process; here it ends the parsing
		if r := recover(); r != nil {
			if _, ok := r.(finished); !ok {
				panic(r)
			}
			parsed, err = invocation{}, nil
		}
	}()
	from := &sources{vars: vars}
	k, err := newParser(from, stdout)
	if err != nil {
		return invocation{}, fmt.Errorf("build the command line: %w", err) // a mistake in the tags
	}
	args = joinNegatives(flagsFirst(k.Model, args))
	if from.file, err = findSettings(k, args, vars); err != nil {
		return invocation{}, usageError{err}
	}
	ctx, err := k.Parse(args)
	if err != nil {
		return invocation{}, usageError{err}
	}
	selected, ok := ctx.Selected().Target.Addr().Interface().(command)
	if !ok {
		return invocation{}, usagef("%s is not a command", ctx.Command())
	}
	return invocation{selected, unknownVariables(k.Model, vars), optionsOf(ctx, from)}, nil
}

// findSettings reads the configuration file, if there is one. It may set what the command takes and what serve takes:
// the other commands share a node's file for the options that they have in common.
func findSettings(k *kong.Kong, args []string, vars map[string]string) (*settings, error) {
	ctx, err := kong.Trace(k, args)
	if err != nil || ctx.Error != nil {
		return nil, nil // the parser says it better
	}
	path := vars[variable(configFlag)]
	known := map[string]*kong.Flag{}
	add := func(node *kong.Node) {
		for _, group := range node.AllFlags(false) {
			for _, flag := range group {
				if !ends(flag.Name) && flag.Name != configFlag {
					known[flag.Name] = flag
				}
			}
		}
	}
	for _, node := range k.Model.Leaves(false) {
		if node.Name == "serve" {
			add(node)
		}
	}
	for _, p := range ctx.Path {
		switch {
		case p.Command != nil:
			add(p.Command)
		case p.Flag != nil && ends(p.Flag.Name):
			return nil, nil
		case p.Flag != nil && p.Flag.Name == configFlag:
			path = fmt.Sprint(ctx.FlagValue(p.Flag))
		}
	}
	if path == "" {
		return nil, nil
	}
	file, err := readSettings(path)
	if err != nil {
		return nil, err
	}
	return file, file.check(known)
}

// flagsFirst moves the flags of commands with arguments before their arguments, with -- between them. Arguments may
// then begin with a dash, as one in 64 socket ids and every negative number does, which kong would take for short
// flags.
func flagsFirst(model *kong.Application, args []string) []string {
	takesValue := map[string]bool{}
	found := false
	for _, leaf := range model.Leaves(false) {
		if len(args) == 0 || leaf.Name != args[0] || len(leaf.Positional) == 0 {
			continue
		}
		found = true
		for _, group := range leaf.AllFlags(false) {
			for _, flag := range group {
				takesValue["--"+flag.Name] = !flag.IsBool()
			}
		}
	}
	if !found {
		return args
	}
	flags, arguments := []string{args[0]}, []string{"--"}
	for rest := args[1:]; len(rest) > 0; {
		arg := rest[0]
		rest = rest[1:]
		switch {
		case arg == "--":
			arguments, rest = append(arguments, rest...), nil
		case arg != "-h" && !strings.HasPrefix(arg, "--"):
			arguments = append(arguments, arg)
		case takesValue[arg] && len(rest) > 0:
			flags, rest = append(flags, arg, rest[0]), rest[1:]
		default:
			flags = append(flags, arg)
		}
	}
	return append(flags, arguments...)
}

// joinNegatives writes --flag -1 as --flag=-1: kong takes -1 for a short flag.
func joinNegatives(args []string) []string {
	var joined []string
	for i := 0; i < len(args); i++ {
		arg := args[i]
		if arg == "--" {
			return append(joined, args[i:]...)
		}
		if strings.HasPrefix(arg, "--") && !strings.Contains(arg, "=") && i+1 < len(args) &&
			negative.MatchString(args[i+1]) {
			i++
			arg += "=" + args[i]
		}
		joined = append(joined, arg)
	}
	return joined
}

// negative matches the start of a negative number or duration.
var negative = regexp.MustCompile(`^-\.?[0-9]`)

// ends reports whether a flag prints something and ends. Such a flag is no option, and has no variable.
func ends(flag string) bool { return flag == "help" || flag == "version" || flag == "print-script" }

// sources are where flags come from that are left out: variables before the configuration file.
type sources struct {
	vars map[string]string
	file *settings
}

// find returns the value of a flag that is left out and where it comes from, or false.
func (s *sources) find(flag string) (value, source string, ok bool) {
	if ends(flag) {
		return "", "", false
	}
	if value, ok := s.vars[variable(flag)]; ok {
		return value, "$" + variable(flag), true
	}
	if value, ok := s.file.value(flag); ok {
		return value, s.file.place(flag), true
	}
	return "", "", false
}

func newParser(from *sources, stdout io.Writer) (*kong.Kong, error) {
	return kong.New(&cli{},
		kong.Name("guildcast"),
		kong.Description("Socket.IO nodes that bring guild events to the browsers that may see them."),
		kong.Writers(stdout, stdout),
		valueMappers(),
		kong.Vars{"version": version()},
		kong.Exit(func(int) { panic(finished{}) }),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true, WrapUpperBound: 120}),
		kong.ValueFormatter(describe),
		kong.Resolvers(kong.ResolverFunc(func(_ *kong.Context, _ *kong.Path, flag *kong.Flag) (any, error) {
			if value, _, ok := from.find(flag.Name); ok {
				return value, nil
			}
			return nil, nil
		})),
	)
}

// unknownVariables returns the names in vars that look like options and belong to no flag of any command. They are
// probably misspelt.
func unknownVariables(model *kong.Application, vars map[string]string) []string {
	known := map[string]bool{}
	for _, leaf := range model.Leaves(false) {
		for _, group := range leaf.AllFlags(false) {
			for _, flag := range group {
				known[variable(flag.Name)] = !ends(flag.Name)
			}
		}
	}
	var unknown []string
	for name := range vars {
		if strings.HasPrefix(name, variable("")) && !known[name] {
			unknown = append(unknown, name)
		}
	}
	slices.Sort(unknown)
	return unknown
}

// describe adds a flag's default and its variable to its help.
func describe(v *kong.Value) string {
	if v.Flag == nil || ends(v.Name) {
		return v.Help
	}
	text := v.Help
	if v.HasDefault && v.Default != "" {
		text += " Default " + v.Default + "."
	}
	return text + " $" + variable(v.Name)
}
