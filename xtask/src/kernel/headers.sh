#!/bin/sh
# Copies what modules are built with, as the packages linux-headers-* of distributions have it.
# headers.sh LINUX OBJECTS HEADERS: from the source and the objects of a kernel, which has been built, to an empty folder.
set -eu
linux=$1 objects=$2 headers=$3

# Later names replace earlier ones: what the build has made counts.
cd "$linux"
tar -cf - Makefile arch/x86/Makefile* arch/x86/include include scripts | tar -xf - -C "$headers"
cd "$objects"
set -- Module.symvers arch/x86/include/generated include/generated scripts
for made in include/config/auto.conf include/config/kernel.release tools/objtool/objtool; do
    [ ! -e "$made" ] || set -- "$@" "$made"
done
tar --exclude='*.o' --exclude='.*.cmd' -cf - "$@" | tar -xf - -C "$headers"
