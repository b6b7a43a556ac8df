# The macros of the platform that vendor policy uses, by what they grant.

define(`r_file_perms', `{ getattr open read ioctl lock map watch }')
define(`r_dir_perms', `{ getattr open read search ioctl lock watch }')
define(`rw_file_perms', `{ getattr open read ioctl lock map watch append write }')
define(`create_file_perms', `{ rw_file_perms create rename setattr unlink }')
define(`create_dir_perms', `{ getattr open read search ioctl lock watch add_name remove_name write create rename reparent rmdir setattr }')
define(`file_classes', `{ file dir fifo_file chr_file }')
define(`any_file', `{ anon_inode blk_file dir fifo_file file lnk_file sock_file }')

define(`userdebug_or_eng', ifelse(target_build_variant, `user', , `$1'))

# A domain of init's own starting.
define(`init_daemon_domain', `
type_transition init $1_exec:process $1;
allow init $1_exec:file { getattr open read execute map };
allow init $1:process { transition siginh rlimitinh };
allow $1 $1_exec:file { entrypoint open read execute getattr map };
dontaudit init $1:process noatsecure;
')

define(`binder_use', `
allow $1 servicemanager:binder { call transfer };
allow servicemanager $1:binder { call transfer };
allow servicemanager $1:fd use;
allow servicemanager $1:dir search;
allow servicemanager $1:file { open read };
allow servicemanager $1:process getattr;
')

define(`binder_call', `
allow $1 $2:binder { call transfer };
allow $2 $1:binder transfer;
allow $1 $2:fd use;
')

define(`add_service', `
allow $1 $2:service_manager { add find };
neverallow { domain -$1 } $2:service_manager add;
')

# A HAL is three attributes: all that has to do with it, its clients and its servers.
define(`hal_attribute', `
attribute hal_$1;
attribute hal_$1_client;
attribute hal_$1_server;
expandattribute hal_$1 true;
expandattribute hal_$1_client true;
expandattribute hal_$1_server false;
neverallow { hal_$1_server -halserverdomain } domain:process fork;
')

define(`hal_server_domain', `
typeattribute $1 halserverdomain;
typeattribute $1 $2_server;
typeattribute $1 $2;
')

define(`hal_client_domain', `
typeattribute $1 halclientdomain;
typeattribute $1 $2_client;
typeattribute $1 $2;
')

define(`hal_attribute_service', `
allow $1_client $2:service_manager find;
add_service($1_server, $2)
neverallow { domain -$1_client -$1_server -atrace -shell -system_app -traceur_app } $2:service_manager find;
')

define(`dump_hal', `
hal_client_domain(dumpstate, $1)
allow $1_server dumpstate:fifo_file write;
allow $1_server dumpstate:fd use;
')
