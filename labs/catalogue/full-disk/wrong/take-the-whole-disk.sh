# caught-by: size
# answer size: 24
# The size of the whole disk is not the size of what is hidden in it.
df -h /srv/shop
