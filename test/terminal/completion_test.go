package terminal

import (
	"os"
	"path/filepath"
	"testing"

	"bpfd/test/testenv"
)

// Each shell completes the name of a target with what "bpfctl completion" prints
// for it, when a user presses the tabulator key.
func TestCompletion(t *testing.T) {
	const target, leads = "board-42", "unix:/nonexistent/socket"
	home := t.TempDir()
	config := filepath.Join(home, "bpfd")
	if err := os.Mkdir(config, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(config, "config.toml"), []byte("[target."+target+"]\nurl = \""+leads+"\"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	env := []string{"PATH=" + filepath.Dir(bpfctl) + ":" + os.Getenv("PATH"), "HOME=" + home, "XDG_CONFIG_HOME=" + home,
		"PS1=" + prompt, "PROMPT_COMMAND=", "TERM=xterm"}
	for _, c := range []struct {
		shell string
		args  []string
		setup string
	}{
		{"bash", []string{"--norc", "--noprofile", "-i"}, ". /usr/share/bash-completion/bash_completion; . <(bpfctl completion bash)"},
		{"zsh", []string{"-f", "-i"}, "autoload -Uz compinit; compinit -u -D; . <(bpfctl completion zsh)"},
		{"fish", []string{"--no-config", "-i"}, "function fish_prompt; echo -n '" + prompt + "'; end; bpfctl completion fish | source"},
	} {
		t.Run(c.shell, func(t *testing.T) {
			testenv.Need(t, c.shell)
			console := open(t, env, append([]string{c.shell}, c.args...)...)
			console.keys(c.setup + "; echo set' 'up\n")
			console.expect("set up")
			console.keys("bpfctl ps -t boar\t\n")
			console.expect("bpfctl: " + target + ": cannot connect")
			console.keys("bpfctl target show bo\t\n")
			console.expect(leads)
		})
	}
}
