package main

import (
	"context"
	"encoding/json"
	"os"
	"runtime"
	"slices"
	"time"

	"bpfd/internal/doctor"
	"bpfd/internal/kernel"
	"bpfd/internal/rpc"
	"bpfd/internal/supervisor"
	"bpfd/internal/wire"

	"github.com/spf13/cobra"
)

// factsVariable hands the facts to the process that examines the target.
const factsVariable = "BPFD_DOCTOR_FACTS"

func newDoctor() *cobra.Command {
	cmd := &cobra.Command{
		Use: "doctor", Short: doctorShort, Long: doctorLong, Example: doctorExample, Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if facts := os.Getenv(factsVariable); facts != "" {
				return there(cmd, func(context.Context) error { return examine(cmd, facts) })
			}
			return prepareExam(cmd)
		},
	}
	cmd.Flags().Bool("json", false, doctorJSONUsage)
	addHeaderFlags(cmd)
	return cmd
}

// prepareExam measures the connection, and examines the target over it.
func prepareExam(cmd *cobra.Command) error {
	c, err := connect(cmd)
	if err != nil {
		return err
	}
	defer c.Close()
	h, _, err := newHeaders(cmd, c, nil)
	if err != nil {
		return err
	}
	facts, err := measure(c.client)
	if err != nil {
		return c.explain(err)
	}
	facts.Headers = h.Available()
	b, err := json.Marshal(facts)
	if err != nil {
		return err
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	args := slices.Concat([]string{self, "--" + thereFlag}, os.Args[1:])
	return c.run(cmd, args, append(os.Environ(), factsVariable+"="+string(b)), supervisor.Options{})
}

// measure asks for what is not seen in the target's files.
func measure(c *rpc.Client) (*doctor.Facts, error) {
	const rounds = 9
	i := &c.Welcome.Info
	f := &doctor.Facts{
		Arch: i.Arch, Host: runtime.GOARCH, Machine: i.Machine, Release: i.Release, UID: i.UID, Caps: i.Caps,
	}
	var trips []time.Duration
	for range rounds {
		var now wire.Info
		start := time.Now()
		if err := c.Do(wire.TypeInfo, wire.Empty{}, &now); err != nil {
			return nil, err
		}
		trip := time.Since(start)
		trips = append(trips, trip)
		f.Offset = time.Unix(0, now.Realtime).Sub(start.Add(trip / 2))
	}
	slices.Sort(trips)
	f.RTT = trips[rounds/2]
	f.Rate = rate(c, f.RTT)
	return f, nil
}

// rate returns how many bytes a second come from the target, 0 if it has
// nothing to measure by.
func rate(c *rpc.Client, trip time.Duration) float64 {
	const most = 2 << 20 // bytes: two seconds at 1 MB/s
	for _, path := range []string{kernel.BTFPath, "/proc/kallsyms"} {
		var reply wire.OpenReply
		req := wire.Open{Result: c.NewHandle(), Flags: wire.OpenRead, Snapshot: most, Path: path}
		start := time.Now()
		if c.Do(wire.TypeOpen, &req, &reply) != nil || reply.Errno != 0 {
			continue
		}
		took := time.Since(start) - trip
		if !reply.EOF {
			c.Post(wire.TypeClose, &wire.Close{Handles: []wire.Handle{req.Result}})
		}
		if len(reply.Bytes) > 0 && took > 0 {
			return float64(len(reply.Bytes)) / took.Seconds()
		}
	}
	return 0
}

// examine runs where the target's files are seen.
func examine(cmd *cobra.Command, encoded string) error {
	var facts doctor.Facts
	if err := json.Unmarshal([]byte(encoded), &facts); err != nil {
		return err
	}
	name, err := targetOf(cmd)
	if err != nil {
		return err
	}
	r := doctor.Examine(name, facts)
	if asJSON, _ := cmd.Flags().GetBool("json"); asJSON {
		e := json.NewEncoder(cmd.OutOrStdout())
		e.SetIndent("", "  ")
		return e.Encode(r)
	}
	return printReport(cmd.OutOrStdout(), r)
}
