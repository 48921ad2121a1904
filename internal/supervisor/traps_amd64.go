package supervisor

import (
	"bpfd/internal/notify"

	"golang.org/x/sys/unix"
)

var archTraps = []trap{
	{notify.Trap{Nr: unix.SYS_POLL}, (*Supervisor).poll, nil},
	{notify.Trap{Nr: unix.SYS_SELECT}, (*Supervisor).selectCall, nil},
	{notify.Trap{Nr: unix.SYS_READLINK}, (*Supervisor).readlink, nil},
}
