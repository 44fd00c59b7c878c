import time
for n in range(3):
    print("line", n)
    time.sleep(1)
