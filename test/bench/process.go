package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// ticks are the parts of a second in which Linux tells CPU time to programs.
const ticks = 100

// process is one whose use of the machine is read from /proc, see proc(5).
type process struct{ pid int }

// child finds a process that this one started.
func child(name string) (*process, error) {
	stats, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		return nil, err
	}
	for _, path := range stats {
		text, err := os.ReadFile(path)
		if err != nil {
			continue // it ended meanwhile
		}
		pid, command, fields := parseStat(text)
		// The kernel keeps 15 characters of a name. Field 4 is the parent.
		if command == name[:min(len(name), 15)] && fields[4-3] == strconv.Itoa(os.Getpid()) {
			return &process{pid}, nil
		}
	}
	return nil, fmt.Errorf("no process %q was started", name)
}

// parseStat splits a line of /proc/<pid>/stat. Fields begin with the third.
func parseStat(text []byte) (pid int, command string, fields []string) {
	opening, closing := bytes.IndexByte(text, '('), bytes.LastIndexByte(text, ')')
	pid, _ = strconv.Atoi(strings.TrimSpace(string(text[:opening])))
	return pid, string(text[opening+1 : closing]), strings.Fields(string(text[closing+1:]))
}

// cpu is the time that it has used until now.
func (p *process) cpu() (time.Duration, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.pid))
	if err != nil {
		return 0, err
	}
	_, _, fields := parseStat(text)
	var sum int64
	for _, field := range fields[14-3 : 16-3] { // utime and stime
		used, err := strconv.ParseInt(field, 10, 64)
		if err != nil {
			return 0, err
		}
		sum += used
	}
	return time.Duration(sum) * time.Second / ticks, nil
}

// memory is what it has in memory now, and the most it had, in MiB.
func (p *process) memory() (now, peak float64, err error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.pid))
	if err != nil {
		return 0, 0, err
	}
	for line := range strings.Lines(string(text)) {
		fields := strings.Fields(line)
		if len(fields) != 3 || fields[2] != "kB" {
			continue
		}
		kib, err := strconv.ParseFloat(fields[1], 64)
		if err != nil {
			return 0, 0, err
		}
		switch fields[0] {
		case "VmRSS:":
			now = kib / 1024
		case "VmHWM:":
			peak = kib / 1024
		}
	}
	return now, peak, nil
}
