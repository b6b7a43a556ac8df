#!/bin/sh
# The Debian packages behind `cargo xtask`.
#
#   packages.sh missing [MORE...]   prints those that this machine lacks
#   packages.sh install [MORE...]   installs them, as root
#   packages.sh mirror              prints the address from which this machine gets Debian
set -eu
# From xfsprogs, tests take the command that encrypts a folder. The guest's init needs udev to find the ports that carry
# the input, output and exit status of the command. Tests compile programs that use the C interface.
vm="dmsetup e2fsprogs erofs-utils f2fs-tools fsverity g++ kmod python3 python3-venv udev util-linux
    xfsprogs"
kernel="bc bison flex gcc libc6-dev libelf-dev linux-source-6.12 make quilt tar xz-utils"
android="bindgen blueprint-tools checkpolicy debian-archive-keyring debootstrap libclang-dev libxml2-utils m4 secilc
    selinux-utils"
bench="fio"
qemu=qemu-system-x86
suite=$(. /etc/os-release && echo "$VERSION_CODENAME")

apt() {
    apt-get -o DPkg::Lock::Timeout=900 -o Dpkg::Use-Pty=0 "$@"
}

missing() {
    # Each name once, and once more if it is installed: a missing one is unique.
    # shellcheck disable=SC2086,SC2016
    {
        printf '%s\n' $vm $kernel $android $bench $more | sort -u
        dpkg-query -W -f '${Package} ${db:Status-Status}\n' $vm $kernel $android $bench $more 2>/dev/null |
            sed -n 's/ installed$//p' | sort -u
    } | sort | uniq -u
    # UFS 4.0 has multi-circular queues; the device came to QEMU before them, in 8.2.
    qemu-system-x86_64 -device ufs,help 2>/dev/null | grep -q mcq= || echo $qemu
}

mirror() {
    # shellcheck disable=SC2016
    apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' 'Component: main' "Codename: $suite" | head -n 1
}

install() {
    export DEBIAN_FRONTEND=noninteractive
    wanted=$(missing)
    # A source that cannot be reached need not be the one that matters.
    apt update || echo "going on with the package lists there are"
    case $suite:$wanted in
    bookworm:*$qemu*)
        # QEMU with UFS 4.0 is in the backports of Debian 12. Apt reads them as one more source, which is not kept.
        backports=$suite-backports
        # shellcheck disable=SC2016
        if ! apt-get indextargets --format '$(RELEASE)' | grep -qx "$backports"; then
            list=$(mktemp --suffix=.list)
            cat /etc/apt/sources.list >"$list" 2>/dev/null || true
            echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $(mirror) $backports main" >>"$list"
            set -- -o "Dir::Etc::SourceList=$list"
            apt "$@" update
        fi
        apt "$@" install --yes --no-install-recommends --target-release "$backports" $qemu
        ;;
    esac
    # shellcheck disable=SC2046
    apt install --yes --no-install-recommends $(missing)
}

verb=$1
shift
more=$*
"$verb"
