// Pulls an image, shows what happens meanwhile, and lists what is there.

#include <imgd/client.hpp>
#include <iostream>

int main(int argc, char** argv) try {
  imgd::Client client;

  // The end of its scope cancels the pull. What was fetched stays for a while: the next one goes on there.
  auto pull = client.pull(argc > 1 ? argv[1] : "redis:7");
  for (const auto& event : pull) {
    for (const auto& node : event.update().nodes()) {
      std::cout << node.node_id() << ' ' << imgd::v1::NodeState_Name(node.state()) << '\n';
    }
  }
  const auto transfer = pull.wait();
  std::cout << "pulled " << transfer.outcome().target().digest() << '\n';

  for (const auto& image : client.images()) {
    for (const auto& tag : image.tags()) std::cout << tag << ' ';
    std::cout << image.image_id() << ' ' << image.size() << '\n';
  }
} catch (const imgd::TransferFailed& error) {
  std::cerr << error.reason() << ": " << error.message() << '\n';
  return 1;
} catch (const imgd::Error& error) {
  std::cerr << error.what() << '\n';
  return 1;
}
