// Package sandbox runs a program that reads the data of strangers with as little as it needs: no files but those it is made
// of, no network, no other processes, bounded memory and time.
//
// Go cannot confine a process between fork and exec. The hub therefore starts itself again under another name; that process
// runs Main, which takes its own rights away one after the other, and then becomes the program.
//
// What can be taken away depends on where the hub runs: root on a machine may do everything, a container without rights cannot
// even make a user namespace. Open tries the strongest cell first and leaves out what does not work; it says what is in force.
// Four protections overlap so that what one machine lacks another replaces:
//
//   - namespaces (user, process, mount, network, IPC, host name) with a root directory that has only the system's programs and
//     libraries, read-only, and an end that takes every process with it;
//   - another user, when the hub is root, without groups and capabilities;
//   - Landlock: no file but those programs and libraries, which can only be read and run, and no TCP;
//   - a seccomp filter: no sockets, no new processes, no signals to others, nothing that administers a machine.
//
// Limits on memory, processor time, the size of files and the number of open files, no_new_privs and death with the hub need no
// rights and are always there.
package sandbox
