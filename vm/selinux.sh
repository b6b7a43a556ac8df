# The SELinux part of guest.sh, which reads it in a VM of `cargo xtask vm --selinux`. The policy is that of sepolicy/vendor with
# the stand-in for Android's in sepolicy/tests; guest.sh has the part of init in it.

# Loads the policy and starts guest.sh anew, in the domain init.
enter_init() {
    # It would go on in the domain of the kernel's threads, which can do as little here as on a phone.
    udevadm control --exit
    mountpoint -q /sys/fs/selinux || mount -t selinuxfs selinuxfs /sys/fs/selinux || return
    # The kernel takes it in one piece.
    dd if="$run/selinux-policy" of=/sys/fs/selinux/load bs=16M iflag=fullblock status=none || return
    exec sh "$0" "$run"
}

# Labels what a phone's file_contexts and ueventd would, and enforces the policy from here on.
enforce() {
    find /dev -xdev -type c -exec chcon u:object_r:vm_device:s0 {} + || return
    for node in full null random urandom zero; do
        case $node in *random) type=random_device ;; *) type=${node}_device ;; esac
        [ $node = full ] || chcon "u:object_r:$type:s0" "/dev/$node" || return
    done
    chcon u:object_r:fuse_device:s0 /dev/fuse || return
    if [ -e /dev/dma_heap ]; then
        chcon -R u:object_r:dmabuf_heap_device:s0 /dev/dma_heap || return
        [ ! -e /dev/dma_heap/system ] || chcon u:object_r:dmabuf_system_heap_device:s0 /dev/dma_heap/system || return
        [ ! -e /dev/dma_heap/system-direct ] ||
            chcon u:object_r:vendor_dmabuf_system_direct_heap_device:s0 /dev/dma_heap/system-direct || return
    fi
    [ ! -e /dev/udmabuf ] || chcon u:object_r:vendor_udmabuf_device:s0 /dev/udmabuf || return
    # What tests write there is labelled as the files of an application are.
    chcon u:object_r:app_data_file:s0 "$DMABUFIO_TEST_DIR" || return

    mkdir -p "$state/log" || return
    hub=$state/bin/servicemanager shell=$state/bin/su log=$state/log
    chcon u:object_r:vm_log_file:s0 "$log" || return
    cp "$(command -v sh)" "$shell" && chcon u:object_r:su_exec:s0 "$shell" || return
    if [ "$DMABUFIO_SERVICE" = 1 ]; then
        cp "$(command -v rsb_hub)" "$hub" && chcon u:object_r:servicemanager_exec:s0 "$hub" || return
        chcon "$(cat "$run/selinux-service-label")" "$service" || return
    fi

    # Every denial is to reach the log, where the host looks for them.
    echo 0 >/proc/sys/kernel/printk_ratelimit || return
    echo 1 >/sys/fs/selinux/enforce
}
