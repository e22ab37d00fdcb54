#!/bin/bash
shopt -s nocasematch
umask 0022
phase1_up() {
  setkey -f /etc/racoon/setkey.conf
}
# bring down phase1
phase1_down() {
  setkey -F
  setkey -P -F
}
case "$1" in
  phase1_up) phase1_up ;;
  phase1_down) phase1_down ;;
  *) exit 3 ;;
esac
exit 0
