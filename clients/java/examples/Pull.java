import dev.imgd.client.ImgdClient;
import dev.imgd.client.ImgdException;
import dev.imgd.client.TransferStream;
import dev.imgd.v1.Image;
import dev.imgd.v1.TransferEvent;
import dev.imgd.v1.TransferNode;

/** Pulls an image, shows what happens meanwhile, and lists what is there. */
public final class Pull {
  public static void main(String[] arguments) {
    try (ImgdClient imgd = ImgdClient.connect();
        // Leaving it early cancels the pull. What was fetched stays for a while, for the next one.
        TransferStream pull = imgd.pull(arguments[0])) {
      for (TransferEvent event : pull) {
        for (TransferNode node : event.getUpdate().getNodesList()) {
          System.out.println(node.getNodeId() + " " + node.getState());
        }
      }
      System.out.println("pulled " + pull.result().getOutcome().getTarget().getDigest());

      for (Image image : imgd.listImages()) {
        System.out.println(image.getTagsList() + " " + image.getImageId() + " " + image.getSize());
      }
    } catch (ImgdException error) {
      System.err.println(error.reason() + ": " + error.getMessage());
      System.exit(1);
    }
  }
}
