# canary-generator
echo $SEED
