package imgd

import (
	"errors"
	"fmt"
	"net"
	"os"
	"regexp"
	"strconv"
	"strings"
	"syscall"
)

// sockaddr_un.sun_path holds 108 bytes with the final zero (unix(7)).
const maxSocketPath = 107

// An IPv6 address is in brackets.
var hostPort = regexp.MustCompile(`^([^\s/:\[\]]+|\[[0-9a-fA-F:.%\w]+\]):([0-9]{1,5})$`)

// ErrUsage is what the program itself did wrong, found before any call: a malformed address, say, or a client that
// is closed.
var ErrUsage = errors.New("imgd: wrong use of the client")

func usage(format string, arguments ...any) error {
	return fmt.Errorf("%w: %s", ErrUsage, fmt.Sprintf(format, arguments...))
}

// DefaultAddress is where the daemon listens: IMGD_ADDRESS, else the system's socket for root, else the
// user's own, in XDG_RUNTIME_DIR or without one in /tmp/imgd-UID.
//
// It fails with [ErrUsage] where that folder is not the user's alone: somebody else could have put it there,
// to get what is sent to the socket in it.
func DefaultAddress() (string, error) {
	if address := os.Getenv("IMGD_ADDRESS"); address != "" {
		return address, nil
	}
	if os.Geteuid() == 0 {
		return "unix:///run/imgd/imgd.sock", nil
	}
	folder := os.Getenv("XDG_RUNTIME_DIR")
	if folder == "" {
		folder = fmt.Sprintf("/tmp/imgd-%d", os.Geteuid())
		if err := checkOwn(folder); err != nil {
			return "", err
		}
	}
	return "unix:" + folder + "/imgd.sock", nil
}

func checkOwn(folder string) error {
	found, err := os.Lstat(folder)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err == nil {
		owner, known := found.Sys().(*syscall.Stat_t)
		if known && int(owner.Uid) == os.Geteuid() && found.IsDir() && found.Mode().Perm()&0o022 == 0 {
			return nil
		}
	}
	return usage("%s is not this user's alone: somebody else may have made it; "+
		"set XDG_RUNTIME_DIR, or name the daemon's address", folder)
}

// target is what gRPC connects to for unix:PATH, unix:///PATH or HOST:PORT.
func target(address string) (string, error) {
	if path, isSocket := strings.CutPrefix(address, "unix:"); isSocket {
		if strings.HasPrefix(path, "//") {
			if !strings.HasPrefix(path, "///") {
				return "", usage("address %q: write unix:PATH or unix:///PATH", address)
			}
			path = path[2:]
		}
		if path == "" {
			return "", usage("address %q names no socket", address)
		}
		if len(path) > maxSocketPath {
			return "", usage("address %q: a socket's path has at most %d bytes", address, maxSocketPath)
		}
		return "unix:" + path, nil
	}
	found := hostPort.FindStringSubmatch(address)
	if found != nil {
		if port, err := strconv.Atoi(found[2]); err == nil && 0 < port && port < 65536 {
			return "dns:///" + address, nil
		}
	}
	return "", usage("address %q is neither unix:PATH nor HOST:PORT", address)
}

// isHere tells whether what is sent to a target stays on this machine.
func isHere(target string) bool {
	if strings.HasPrefix(target, "unix:") {
		return true
	}
	host, _, err := net.SplitHostPort(strings.TrimPrefix(target, "dns:///"))
	if err != nil {
		return false
	}
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}
